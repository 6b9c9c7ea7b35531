// title: Weights of a circuit's kernels
// description: The weights of the kernels that a circuit keeps into some of its filters; none where weights are not stored.
// mode: read
// parameter: uid = "toy/circuit/one" -- uid of the circuit
// parameter: filters = ["toy/conv2/0"] -- uids of filters that it includes
// columns: target, inputs, weights

CYPHER 25
UNWIND $filters AS filter
MATCH (:Circuit {uid: $uid})-[i:INCLUDES]->(f:Filter {uid: filter})<-[k:KERNEL]-(:Filter)
WHERE k.input IN i.kernelInputs AND k.weights IS NOT NULL
WITH f, k ORDER BY k.input
RETURN f.uid AS target, collect(k.input) AS inputs, collect(k.weights) AS weights
