// title: Kernels of a layer
// description: Incoming kernels (of a sum: identities) of some filters of a layer, with the filters that they start at.
// mode: read
// parameter: layer = "toy/conv1" -- uid of the layer
// parameter: start = 0 -- first channel
// parameter: end = 1000000 -- the channel after the last one
// columns: channel, bias, inputs, sourceLayers, sourceChannels, weights

CYPHER 25
MATCH (:Layer {uid: $layer})-[:HAS_FILTER]->(b:Filter)
WHERE $start <= b.channel < $end
OPTIONAL MATCH (a:Filter)-[k:KERNEL|IDENTITY]->(b)
RETURN b.channel AS channel, b.bias AS bias, collect(k.input) AS inputs, collect(a.layerIndex) AS sourceLayers,
  collect(a.channel) AS sourceChannels, collect(k.weights) AS weights
ORDER BY channel
