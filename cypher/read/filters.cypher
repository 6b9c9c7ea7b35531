// title: Filters of a model
// description: All filters with their places, in depth and channel order, the input channels first.
// mode: read
// parameter: model = "toy" -- name of the model
// columns: uid, layer, layerIndex, channel, name, u, v, z, x, y, bias, importance, score, inputChannel

CYPHER 25
MATCH (:Model {name: $model})-[:HAS_LAYER]->(:Layer)-[:HAS_FILTER]->(f:Filter)
RETURN f.uid AS uid, f.layer AS layer, f.layerIndex AS layerIndex, f.channel AS channel, f.name AS name,
  f.u AS u, f.v AS v, f.z AS z, f.x AS x, f.y AS y, f.bias AS bias, f.importance AS importance, f.score AS score,
  f:InputChannel AS inputChannel
ORDER BY layerIndex, layer, channel
