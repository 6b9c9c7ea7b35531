// title: Kernels of a circuit
// description: The kernels that a circuit keeps, with sign and active score.
// mode: read
// parameter: uid = "toy/circuit/one" -- uid of the circuit
// columns: source, target, input, sign, signRatio, score

CYPHER 25
MATCH (:Circuit {uid: $uid})-[i:INCLUDES]->(b:Filter)<-[k:KERNEL]-(a:Filter)
WHERE k.input IN i.kernelInputs
RETURN a.uid AS source, b.uid AS target, k.input AS input, k.sign AS sign, k.signRatio AS signRatio, k.score AS score
ORDER BY b.layerIndex, b.channel, input
