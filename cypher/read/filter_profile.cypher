// title: Class profile of a filter
// description: How much it matters to the loss of each class (of unit length), in the order of the model's classes.
// mode: read
// parameter: uid = "toy/conv2/0" -- uid of the filter
// columns: profile, classes, bestClass, classSelectivity, images

CYPHER 25
MATCH (f:Filter {uid: $uid})
MATCH (m:Model {name: f.model})
WHERE m.profiles IS NOT NULL
RETURN f.classProfile AS profile, m.classes AS classes, f.bestClass AS bestClass,
  f.classSelectivity AS classSelectivity, m.profileImages AS images
