// title: Outgoing kernels of a filter
// description: The kernels from a filter in the order of a saved query's scores (signed criteria: their sizes), with weights; where it is an addend of a sum also its IDENTITY, which has none.
// mode: read
// parameter: uid = "toy/conv1/0" -- uid of the filter
// parameter: query = "toy/query/one" -- uid of a saved query
// parameter: limit = 10 -- number of kernels
// columns: target, input, score, l1, l2, signRatio, sign, weights

CYPHER 25
MATCH (f:Filter {uid: $uid})-[k:KERNEL|IDENTITY]->(b:Filter)
OPTIONAL MATCH (q:Query {uid: $query, status: 'complete'})-[s:SCORED]->(b)
WITH b, k, s.kernelScores AS ks, coalesce(q.signed, false) AS signed
RETURN b.uid AS target, k.input AS input, ks[k.input] AS score, k.l1 AS l1, k.l2 AS l2,
  k.signRatio AS signRatio, k.sign AS sign, k.weights AS weights
ORDER BY coalesce(CASE WHEN signed THEN abs(ks[k.input]) ELSE ks[k.input] END, k.l1) DESC, target, input
LIMIT $limit
