// title: Some scores of a query
// description: For the filters of some pieces of layers their scores and those of their incoming kernels, in the given order; a whole query page by page.
// mode: read
// parameter: uid = "toy/query/one" -- uid of the query
// parameter: pieces = [{"layer": "toy/conv1", "first": 0, "count": 4}] -- uid of a layer, first channel and number of channels
// columns: uid, score, kernelScores

CYPHER 25
MATCH (q:Query {uid: $uid, status: 'complete'})
UNWIND range(0, size($pieces) - 1) AS number
WITH q, number, $pieces[number] AS piece
MATCH (:Layer {uid: piece.layer})-[:HAS_FILTER]->(f:Filter)
WHERE piece.first <= f.channel < piece.first + piece.count
MATCH (q)-[s:SCORED]->(f)
WITH number, f, s ORDER BY number, f.channel
RETURN f.uid AS uid, s.score AS score, s.kernelScores AS kernelScores
