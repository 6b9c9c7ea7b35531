// title: Paths of a circuit
// description: The paths of a circuit from input channels to its target, along its own kernels and identities only.
// mode: read
// parameter: uid = "toy/circuit/one" -- uid of the circuit
// parameter: limit = 100 -- number of paths
// columns: path

CYPHER 25
MATCH (c:Circuit {uid: $uid})
CALL (c) {
  MATCH (first:InputChannel)  // a few a model
  WHERE first.model = c.model
  RETURN first
}
CALL (c, first) {  // from the input on, and never back from all the filters of the target's layers
  MATCH path = (first)(()-[k:KERNEL|IDENTITY]->(b WHERE EXISTS {
    (c)-[i:INCLUDES]->(b) WHERE k.input IN i.kernelInputs
  })){1,1000}(goal:Filter WHERE goal.layer IN c.targetLayers)
  RETURN path
}
RETURN path
LIMIT $limit
