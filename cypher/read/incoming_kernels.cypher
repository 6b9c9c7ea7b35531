// title: Incoming kernels of a filter
// description: The kernels into a filter in the order of a saved query's scores (signed criteria: their sizes), with weights; of a sum its addends (IDENTITY), which have none.
// mode: read
// parameter: uid = "toy/conv2/0" -- uid of the filter
// parameter: query = "toy/query/one" -- uid of a saved query
// parameter: limit = 10 -- number of kernels
// columns: source, input, score, l1, l2, signRatio, sign, weights

CYPHER 25
MATCH (a:Filter)-[k:KERNEL|IDENTITY]->(f:Filter {uid: $uid})
OPTIONAL MATCH (q:Query {uid: $query, status: 'complete'})-[s:SCORED]->(f)
WITH a, k, s.kernelScores AS ks, coalesce(q.signed, false) AS signed
RETURN a.uid AS source, k.input AS input, ks[k.input] AS score, k.l1 AS l1, k.l2 AS l2,
  k.signRatio AS signRatio, k.sign AS sign, k.weights AS weights
ORDER BY coalesce(CASE WHEN signed THEN abs(ks[k.input]) ELSE ks[k.input] END, k.l1) DESC, input
LIMIT $limit
