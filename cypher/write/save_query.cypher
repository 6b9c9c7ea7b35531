// title: Save a query
// description: Create a query, or start it over; its scores follow.
// mode: write
// parameter: model = "toy" -- name of the model
// parameter: uid = "toy/query/second" -- uid of the query
// parameter: properties = {} -- properties of the query
// columns: uid

CYPHER 25
MATCH (m:Model {name: $model})
MERGE (q:Query {uid: $uid})
SET q += $properties, q.model = m.name, q.status = 'scoring'
WITH q
CALL (q) {
  MATCH (q)-[s:SCORED]->()
  DELETE s
}
RETURN q.uid AS uid
