// title: Sign ratios of all kernels
// description: Per filter, the sign ratio of its incoming kernels in input order, and the channel number of each source.
// mode: read
// parameter: model = "toy" -- name of the model
// columns: uid, sources, signRatios

CYPHER 25
MATCH (:Model {name: $model})-[:HAS_LAYER]->(:Layer {kind: 'convolution'})-[:HAS_FILTER]->(b:Filter)<-[k:KERNEL]-(a:Filter)
WITH b, k, a ORDER BY k.input
WITH b, collect(a.uid) AS sources, collect(k.signRatio) AS signRatios
RETURN b.uid AS uid, sources, signRatios
ORDER BY b.layerIndex, b.layer, b.channel
