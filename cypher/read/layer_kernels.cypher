// title: Kernels of a layer
// description: Weights of all kernels of a layer, output by output, inputs in order.
// mode: read
// parameter: layer = "toy/conv1" -- uid of the layer
// columns: channel, bias, inputs, weights

CYPHER 25
MATCH (:Layer {uid: $layer})-[:HAS_FILTER]->(b:Filter)<-[k:KERNEL]-(:Filter)
WITH b, k ORDER BY k.input
RETURN b.channel AS channel, b.bias AS bias, collect(k.input) AS inputs, collect(k.weights) AS weights
ORDER BY channel
