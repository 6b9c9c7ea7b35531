// title: Kernels of a circuit
// description: The kernels that a circuit keeps (those that are stored), with sign and their score in the circuit's own query.
// mode: read
// parameter: uid = "toy/circuit/one" -- uid of the circuit
// columns: source, target, input, sign, signRatio, score

CYPHER 25
MATCH (c:Circuit {uid: $uid})-[i:INCLUDES]->(b:Filter)<-[k:KERNEL]-(a:Filter)
WHERE k.input IN i.kernelInputs
OPTIONAL MATCH (:Query {uid: c.query})-[s:SCORED]->(b)
WITH a, b, k, s.kernelScores AS ks
RETURN a.uid AS source, b.uid AS target, k.input AS input, k.sign AS sign, k.signRatio AS signRatio, ks[k.input] AS score
ORDER BY b.layerIndex, b.channel, input
