// title: Save a circuit
// description: Create a verified circuit with the filters, kernels and identities that it includes, replacing one of the same uid.
// mode: write
// parameter: uid = "toy/circuit/second" -- uid of the circuit
// parameter: properties = {"model": "toy", "query": "toy/query/one"} -- properties of the circuit
// parameter: rows = [] -- uid and kernelInputs of each filter; of a sum they are the addends that it keeps
// columns: filters, kernels

CYPHER 25
MATCH (m:Model {name: $properties.model})
SET m.name = m.name  // takes the model's lock: who removes the model waits, or has removed it
WITH m
WHERE m.status = 'complete'
MATCH (:Query {uid: $properties.query})
CALL () {
  MATCH (old:Circuit {uid: $uid})
  DETACH DELETE old
}
CREATE (c:Circuit)
SET c = $properties, c.uid = $uid
WITH c
CALL (c) {
  UNWIND $rows AS row
  MATCH (f:Filter {uid: row.uid})
  CREATE (c)-[:INCLUDES {kernelInputs: row.kernelInputs}]->(f)
  RETURN count(f) AS filters, sum(CASE WHEN f:Sum THEN 0 ELSE size(row.kernelInputs) END) AS kernels
}
RETURN filters, kernels
