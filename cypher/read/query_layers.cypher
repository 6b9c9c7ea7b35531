// title: Layers that a query has scores of
// description: The layers of a complete query's model in the order of execution, with the sizes of their scores.
// mode: read
// parameter: uid = "toy/query/one" -- uid of a complete query
// columns: uid, filters, inputs, stamp

CYPHER 25
MATCH (q:Query {uid: $uid, status: 'complete'})
MATCH (:Model {name: q.model})-[:HAS_LAYER]->(l:Layer)
WHERE l.index > 0
RETURN l.uid AS uid, l.filters AS filters, l.inputs AS inputs, q.scoresStamp AS stamp
ORDER BY l.index, l.name
