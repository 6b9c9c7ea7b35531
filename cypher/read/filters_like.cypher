// title: Filters like this one
// description: Filters of the same model whose class profile points the same way; similarity is (1 + cosine) / 2.
// mode: read
// parameter: uid = "toy/conv2/0" -- uid of a filter
// parameter: limit = 10 -- number of filters
// columns: uid, layer, similarity, bestClass

CYPHER 25
MATCH (a:Filter {uid: $uid})
MATCH (m:Model {name: a.model})-[:HAS_LAYER]->(:Layer)-[:HAS_FILTER]->(b:Filter)
WHERE m.profiles IS NOT NULL AND b.uid <> a.uid AND a.bestClass IS NOT NULL AND b.bestClass IS NOT NULL
RETURN b.uid AS uid, b.layer AS layer, vector.similarity.cosine(a.classProfile, b.classProfile) AS similarity,
  b.bestClass AS bestClass
ORDER BY similarity DESC, uid
LIMIT $limit
