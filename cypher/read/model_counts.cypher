// title: Size of a model
// description: What is stored for a model: layers with kernels, filters (input channels and sums included), kernels, feeds.
// mode: read
// parameter: model = "toy" -- name of the model
// columns: layers, filters, inputChannels, sums, feeds, logits, kernels, identities

CYPHER 25
MATCH (m:Model {name: $model})
CALL (m) {
  MATCH (m)-[:HAS_LAYER]->(l:Layer)
  RETURN sum(CASE WHEN l.kind IN ['convolution', 'linear'] THEN 1 ELSE 0 END) AS layers,
    sum(COUNT { (l)<-[:FEEDS]-() }) AS feeds
}
CALL (m) {
  MATCH (m)-[:HAS_LAYER]->(:Layer)-[:HAS_FILTER]->(f:Filter)
  RETURN count(f) AS filters, sum(CASE WHEN f:InputChannel THEN 1 ELSE 0 END) AS inputChannels,
    sum(CASE WHEN f:Sum THEN 1 ELSE 0 END) AS sums, sum(COUNT { (f)-[:PREDICTS]->() }) AS logits,
    sum(COUNT { (f)<-[:KERNEL]-() }) AS kernels, sum(COUNT { (f)<-[:IDENTITY]-() }) AS identities
}
RETURN layers, filters, inputChannels, sums, feeds, logits, kernels, identities
