// title: One circuit
// description: A stored circuit with all its properties.
// mode: read
// parameter: uid = "toy/circuit/one" -- uid of the circuit
// columns: circuit

CYPHER 25
MATCH (c:Circuit {uid: $uid})
RETURN properties(c) AS circuit
