// title: Most class-selective filters
// description: Filters that matter to the loss of one class more than to the others: (best - mean of the rest) / (best + mean of the rest) of their class profiles (Morcos et al. 2018, eq. 1).
// mode: read
// parameter: model = "toy" -- name of the model
// parameter: best = null -- only filters whose best class this is
// parameter: limit = 20 -- number of filters
// columns: uid, layer, bestClass, classSelectivity

CYPHER 25
MATCH (m:Model {name: $model})-[:HAS_LAYER]->(:Layer)-[:HAS_FILTER]->(f:Filter)
WHERE m.profiles IS NOT NULL AND f.bestClass IS NOT NULL AND ($best IS NULL OR f.bestClass = $best)
RETURN f.uid AS uid, f.layer AS layer, f.bestClass AS bestClass, f.classSelectivity AS classSelectivity
ORDER BY classSelectivity DESC, uid
LIMIT $limit
