// title: Top kernels per layer
// description: The kernels with the highest score of the active query, layer by layer (an index range scan).
// mode: read
// parameter: model = "toy" -- name of the model
// parameter: above = 0.0 -- smallest score, exclusive
// parameter: limit = 10 -- kernels per layer
// columns: layer, source, target, input, score, sign

CYPHER 25
MATCH (:Model {name: $model})-[:HAS_LAYER]->(l:Layer WHERE l.kind IN ['convolution', 'linear'])
CALL (l) {
  MATCH (a:Filter)-[k:KERNEL {layer: l.key}]->(b:Filter)
  WHERE k.score > $above
  RETURN a, k, b
  ORDER BY k.score DESC
  LIMIT $limit
}
RETURN l.name AS layer, a.uid AS source, b.uid AS target, k.input AS input, k.score AS score, k.sign AS sign
ORDER BY l.index, score DESC
