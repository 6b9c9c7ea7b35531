// title: One filter
// description: A filter with its layer and its scores under a saved query.
// mode: read
// parameter: uid = "toy/conv2/0" -- uid of the filter
// parameter: query = "toy/query/one" -- uid of a saved query
// columns: uid, model, layer, layerUid, layerIndex, channel, bias, importance, activeScore, score, kernelScores, inputChannel

CYPHER 25
MATCH (l:Layer)-[:HAS_FILTER]->(f:Filter {uid: $uid})
OPTIONAL MATCH (:Query {uid: $query, status: 'complete'})-[s:SCORED]->(f)
RETURN f.uid AS uid, f.model AS model, f.layer AS layer, l.uid AS layerUid, f.layerIndex AS layerIndex,
  f.channel AS channel, f.bias AS bias, f.importance AS importance, f.score AS activeScore,
  s.score AS score, s.kernelScores AS kernelScores, f:InputChannel AS inputChannel
