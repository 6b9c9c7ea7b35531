// title: Size of a model
// description: Layers, filters, input channels and kernels that are stored for a model.
// mode: read
// parameter: model = "toy" -- name of the model
// columns: layers, filters, inputChannels, kernels

CYPHER 25
MATCH (m:Model {name: $model})
CALL (m) {
  MATCH (m)-[:HAS_LAYER]->(l:Layer)
  RETURN sum(CASE WHEN l.kind = 'convolution' THEN 1 ELSE 0 END) AS layers
}
CALL (m) {
  MATCH (m)-[:HAS_LAYER]->(:Layer)-[:HAS_FILTER]->(f:Filter)
  RETURN count(f) AS filters, sum(CASE WHEN f:InputChannel THEN 1 ELSE 0 END) AS inputChannels,
    sum(COUNT { (f)<-[:KERNEL]-() }) AS kernels
}
RETURN layers, filters, inputChannels, kernels
