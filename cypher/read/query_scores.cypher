// title: Scores of a query
// description: For every filter its score and the scores of its incoming kernels, in depth and channel order.
// mode: read
// parameter: uid = "toy/query/one" -- uid of the query
// columns: uid, score, kernelScores

CYPHER 25
MATCH (:Query {uid: $uid, status: 'complete'})-[s:SCORED]->(f:Filter)
RETURN f.uid AS uid, s.score AS score, s.kernelScores AS kernelScores
ORDER BY f.layerIndex, f.layer, f.channel
