// title: Finish writing exemplars
// description: Say from which images they are if so many are stored; `mine` is false when another writing has begun since, or the model is gone.
// mode: write
// parameter: model = "toy" -- name of the model
// parameter: run = "" -- name of the writing, from `start_exemplars`
// parameter: expected = 0 -- relationships that must be there
// parameter: exemplars = "" -- names what the exemplars depend on
// parameter: images = 0 -- number of images that were looked at
// columns: mine, written

CYPHER 25
OPTIONAL MATCH (m:Model {name: $model, status: 'complete'})
SET m.name = m.name  // takes the model's lock: who begins another writing waits, or has begun it
WITH m, coalesce(m.exemplarsRun = $run, false) AS mine
CALL () {
  MATCH (x:Image WHERE x.uid STARTS WITH $model + '/image/')<-[e:EXCITED_BY]-()
  RETURN count(e) AS written
}
WITH m, mine, written
FOREACH (each IN CASE WHEN mine AND written = $expected THEN [m] ELSE [] END |
  SET each.exemplars = $exemplars, each.exemplarImages = $images
)
RETURN mine, written
