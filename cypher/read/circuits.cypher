// title: Circuits of a model
// description: The stored circuits of a model with their evidence, newest first.
// mode: read
// parameter: model = "toy" -- name of the model
// columns: uid, target, query, keptFraction, kernels, filters, pearson, pearsonRandom, pearsonWorst, checkImages, createdAt

CYPHER 25
MATCH (c:Circuit {model: $model})
RETURN c.uid AS uid, c.target AS target, c.query AS query, c.keptFraction AS keptFraction, c.kernels AS kernels,
  c.filters AS filters, c.pearson AS pearson, c.pearsonRandom AS pearsonRandom, c.pearsonWorst AS pearsonWorst,
  c.checkImages AS checkImages, c.createdAt AS createdAt
ORDER BY createdAt DESC, uid
