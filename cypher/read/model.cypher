// title: One model
// description: The properties of one model; `imagesHash` is that of its image set `overall`.
// mode: read
// parameter: model = "toy" -- name of the model
// columns: name, architecture, status, weightsHash, inputShape, preprocess, classes, logits, heads, weights, kernelsAbove, topKernels, kernelsLeftOut, importanceOutput, importanceQuery, importanceRun, imagesHash, mixesChannels, signCutoffs, activeQuery, activeProjection, profiles, profileImages, exemplars, exemplarImages, schemaVersion, createdAt

CYPHER 25
MATCH (m:Model {name: $model})
OPTIONAL MATCH (overall:ImageSet {uid: m.name + '/images/overall'})
RETURN m.name AS name, m.architecture AS architecture, m.status AS status, m.weightsHash AS weightsHash,
  m.inputShape AS inputShape, m.preprocess AS preprocess, m.classes AS classes, m.logits AS logits, m.heads AS heads,
  m.weights AS weights, m.kernelsAbove AS kernelsAbove, m.topKernels AS topKernels,
  m.kernelsLeftOut AS kernelsLeftOut, m.importanceOutput AS importanceOutput,
  m.importanceQuery AS importanceQuery, m.importanceRun AS importanceRun, overall.hash AS imagesHash,
  m.mixesChannels AS mixesChannels, m.signCutoffs AS signCutoffs,
  m.activeQuery AS activeQuery, m.activeProjection AS activeProjection,
  m.profiles AS profiles, m.profileImages AS profileImages,
  m.exemplars AS exemplars, m.exemplarImages AS exemplarImages,
  m.schemaVersion AS schemaVersion, m.createdAt AS createdAt
