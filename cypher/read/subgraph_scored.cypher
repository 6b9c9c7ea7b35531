// title: Subgraph of a saved query
// description: Kernels whose score in a saved query, active or not, reaches their layer's minimum.
// mode: read
// parameter: uid = "toy/query/one" -- uid of a complete query
// parameter: layers = [{"uid": "toy/conv2", "minimum": 0.0}] -- uid and smallest score of each layer
// parameter: signed = false -- whether the size of a score counts, for signed criteria
// parameter: limit = 1000 -- number of kernels in all
// columns: source, target, input, score, sign, signRatio

CYPHER 25
UNWIND $layers AS row
MATCH (:Layer {uid: row.uid})-[:HAS_FILTER]->(b:Filter)<-[s:SCORED]-(:Query {uid: $uid, status: 'complete'})
WITH row.minimum AS minimum, b, s.kernelScores AS ks
MATCH (b)<-[k:KERNEL]-(a:Filter)
WHERE CASE WHEN $signed THEN abs(ks[k.input]) ELSE ks[k.input] END >= minimum
RETURN a.uid AS source, b.uid AS target, k.input AS input, ks[k.input] AS score, k.sign AS sign,
  k.signRatio AS signRatio
LIMIT $limit
