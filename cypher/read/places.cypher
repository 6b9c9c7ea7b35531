// title: Places of a projection
// description: Where a projection puts every filter, whether it is active or not.
// mode: read
// parameter: uid = "toy/projection/kernel-pca-disc" -- uid of a projection
// columns: uid, layer, channel, u, v

CYPHER 25
MATCH (:Projection {uid: $uid})-[p:PLACES]->(f:Filter)
RETURN f.uid AS uid, f.layer AS layer, f.channel AS channel, p.u AS u, p.v AS v
ORDER BY f.layerIndex, layer, channel
