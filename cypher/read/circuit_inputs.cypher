// title: Inputs that a circuit keeps
// description: Per filter of a circuit the inputs of the kernels (of a sum: the addends) that it keeps, stored as kernels or not.
// mode: read
// parameter: uid = "toy/circuit/one" -- uid of the circuit
// columns: target, inputs

CYPHER 25
MATCH (:Circuit {uid: $uid})-[i:INCLUDES]->(f:Filter)
RETURN f.uid AS target, i.kernelInputs AS inputs
ORDER BY f.layerIndex, f.channel
