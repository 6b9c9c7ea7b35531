// title: Top filters of a layer
// description: The filters of one layer with the highest score of the active query (of a signed criterion the largest).
// mode: read
// parameter: layer = "toy/conv1" -- uid of the layer
// parameter: limit = 10 -- number of filters
// columns: uid, channel, score, importance

CYPHER 25
MATCH (m:Model)-[:HAS_LAYER]->(:Layer {uid: $layer})-[:HAS_FILTER]->(f:Filter)
WHERE f.score IS NOT NULL
OPTIONAL MATCH (q:Query {uid: m.activeQuery})
RETURN f.uid AS uid, f.channel AS channel, f.score AS score, f.importance AS importance
ORDER BY CASE WHEN q.signed THEN abs(f.score) ELSE f.score END DESC, channel
LIMIT $limit
