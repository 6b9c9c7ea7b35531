// title: Save a query
// description: Create a query whose scores follow; one that is there already is left as it is.
// mode: write
// parameter: model = "toy" -- name of the model
// parameter: uid = "toy/query/second" -- uid of the query
// parameter: properties = {} -- properties of the query
// columns: uid

CYPHER 25
MATCH (m:Model {name: $model})
SET m.name = m.name  // takes the model's lock: who removes the model waits, or has removed it
WITH m
WHERE m.status = 'complete'
MERGE (q:Query {uid: $uid})
  ON CREATE SET q += $properties, q.model = m.name, q.status = 'scoring'
RETURN q.uid AS uid
