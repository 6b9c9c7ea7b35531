// title: Top filters of a layer
// description: The filters of one layer with the highest score of the active query.
// mode: read
// parameter: layer = "toy/conv1" -- uid of the layer
// parameter: limit = 10 -- number of filters
// columns: uid, channel, score, importance

CYPHER 25
MATCH (:Layer {uid: $layer})-[:HAS_FILTER]->(f:Filter)
WHERE f.score IS NOT NULL
RETURN f.uid AS uid, f.channel AS channel, f.score AS score, f.importance AS importance
ORDER BY score DESC, channel
LIMIT $limit
