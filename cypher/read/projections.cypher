// title: Projections of a model
// description: All complete projections with what was measured of them, and which one is active.
// mode: read
// parameter: model = "toy" -- name of the model
// columns: uid, method, seed, active, trustworthiness, continuity, trustworthinessBefore, continuityBefore, weightedLength, weightedLengthGreedy, weightedLengthUnrotated, seconds, notes, createdAt

CYPHER 25
MATCH (m:Model {name: $model})
MATCH (p:Projection {model: m.name, status: 'complete'})
RETURN p.uid AS uid, p.method AS method, p.seed AS seed, coalesce(p.uid = m.activeProjection, false) AS active,
  p.trustworthiness AS trustworthiness, p.continuity AS continuity,
  p.trustworthinessBefore AS trustworthinessBefore, p.continuityBefore AS continuityBefore,
  p.weightedLength AS weightedLength, p.weightedLengthGreedy AS weightedLengthGreedy,
  p.weightedLengthUnrotated AS weightedLengthUnrotated, p.seconds AS seconds, p.notes AS notes, p.createdAt AS createdAt
ORDER BY method
