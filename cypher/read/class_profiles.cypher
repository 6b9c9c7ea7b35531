// title: Class profiles of a layer
// description: How much every filter of a layer matters to the loss of each class, in the order of the model's classes.
// mode: read
// parameter: layer = "toy/conv2" -- uid of the layer
// columns: channel, profile, bestClass, classSelectivity

CYPHER 25
MATCH (:Layer {uid: $layer})-[:HAS_FILTER]->(f:Filter)
RETURN f.channel AS channel, f.classProfile AS profile, f.bestClass AS bestClass, f.classSelectivity AS classSelectivity
ORDER BY channel
