// title: Identities of a circuit
// description: The identities (addends of sums) that a circuit keeps, with their score in the circuit's own query.
// mode: read
// parameter: uid = "toy/circuit/one" -- uid of the circuit
// columns: source, target, input, score

CYPHER 25
MATCH (c:Circuit {uid: $uid})-[i:INCLUDES]->(b:Sum)<-[k:IDENTITY]-(a:Filter)
WHERE k.input IN i.kernelInputs
OPTIONAL MATCH (:Query {uid: c.query})-[s:SCORED]->(b)
WITH a, b, k, s.kernelScores AS ks
RETURN a.uid AS source, b.uid AS target, k.input AS input, ks[k.input] AS score
ORDER BY b.layerIndex, b.channel, input
