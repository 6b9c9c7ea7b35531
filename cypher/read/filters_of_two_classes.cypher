// title: Filters shared by two classes
// description: Filters that matter to both classes: the smaller of their two values in the class profile.
// mode: read
// parameter: model = "toy" -- name of the model
// parameter: first = "ant" -- name of a class
// parameter: second = "bee" -- name of another class
// parameter: limit = 20 -- number of filters
// columns: uid, layer, first, second, shared

CYPHER 25
MATCH (m:Model {name: $model})
WITH m, [i IN range(0, size(m.classes) - 1) WHERE m.classes[i] = $first][0] AS a,
  [i IN range(0, size(m.classes) - 1) WHERE m.classes[i] = $second][0] AS b
MATCH (m)-[:HAS_LAYER]->(:Layer)-[:HAS_FILTER]->(f:Filter)
WHERE m.profiles IS NOT NULL AND f.bestClass IS NOT NULL AND a IS NOT NULL AND b IS NOT NULL
WITH f, f.classProfile[a] AS first, f.classProfile[b] AS second
RETURN f.uid AS uid, f.layer AS layer, first, second, CASE WHEN first < second THEN first ELSE second END AS shared
ORDER BY shared DESC, uid
LIMIT $limit
