// title: What a subgraph is drawn from
// description: A complete query and the layers of its model that have kernels, in the order of execution.
// mode: read
// parameter: uid = "toy/query/one" -- uid of a complete query
// columns: model, signed, stamp, layers

CYPHER 25
MATCH (q:Query {uid: $uid, status: 'complete'})
MATCH (:Model {name: q.model})-[:HAS_LAYER]->(l:Layer WHERE l.kind IN ['convolution', 'linear'])
WITH q, l ORDER BY l.index, l.name
RETURN q.model AS model, coalesce(q.signed, false) AS signed, q.scoresStamp AS stamp,
  collect({uid: l.uid, positions: l.positions}) AS layers
