// title: What two queries share
// description: Filters that stand high in two saved queries: the smaller of their two shares of the layer's total score.
// mode: read
// parameter: first = "toy/query/one" -- uid of a saved query
// parameter: second = "toy/query/two" -- uid of another saved query
// parameter: limit = 20 -- number of filters
// columns: uid, layer, first, second, shared

CYPHER 25
MATCH (:Query {uid: $first})-[s:SCORED]->(f:Filter)<-[t:SCORED]-(:Query {uid: $second})
WITH f.layer AS layer, f.layerIndex AS layerIndex, collect({uid: f.uid, a: s.score, b: t.score}) AS rows,
  sum(CASE WHEN s.score > 0 THEN s.score ELSE 0 END) AS totalA, sum(CASE WHEN t.score > 0 THEN t.score ELSE 0 END) AS totalB
UNWIND rows AS row
WITH layer, layerIndex, row,
  CASE WHEN totalA > 0 THEN row.a / totalA ELSE 0.0 END AS first,
  CASE WHEN totalB > 0 THEN row.b / totalB ELSE 0.0 END AS second
WITH layer, layerIndex, row.uid AS uid, first, second, CASE WHEN first < second THEN first ELSE second END AS shared
WHERE shared > 0
RETURN uid, layer, first, second, shared
ORDER BY shared DESC, uid
LIMIT $limit
