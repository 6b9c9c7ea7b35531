// title: Path from an input channel to a filter
// description: The strongest paths from an input channel to a filter along kernels whose active score reaches a minimum, highest weakest kernel first (the identities of sums are free); found step by step, back from the filter, with the best partial paths of each filter.
// mode: read
// parameter: source = "toy/input/gray" -- uid of an input channel
// parameter: target = "toy/conv2/0" -- uid of the filter
// parameter: minimum = 0.0 -- smallest score of every kernel
// parameter: limit = 5 -- number of paths
// columns: path, weakest

CYPHER 25
MATCH (goal:Filter {uid: $target})
WITH goal, reduce(
  found = [{at: goal, weakest: null, kernels: []}],
  step IN range(1, goal.layerIndex) | COLLECT {
    UNWIND found AS part
    WITH part, part.at AS b
    CALL (part, b) {
      FILTER b.uid <> $source
      MATCH (a:Filter)-[k:KERNEL|IDENTITY WHERE k:IDENTITY OR k.score >= $minimum]->(b)
      RETURN a, [k] + part.kernels AS kernels,
        CASE WHEN k:IDENTITY OR part.weakest <= k.score THEN part.weakest ELSE k.score END AS weakest
      UNION ALL
      FILTER b.uid = $source  // has arrived
      RETURN b AS a, part.kernels AS kernels, part.weakest AS weakest
    }
    WITH a, weakest, kernels ORDER BY weakest DESC
    WITH a, collect({at: a, weakest: weakest, kernels: kernels})[..$limit] AS best
    UNWIND best AS each
    RETURN each
  }
) AS found
UNWIND found AS part
WITH goal, part WHERE part.at.uid = $source
WITH goal, part ORDER BY part.weakest DESC LIMIT $limit
MATCH path = (:Filter {uid: $source})(()-[k:KERNEL|IDENTITY WHERE k IN part.kernels]->()){1,1000}(goal)
RETURN path, part.weakest AS weakest
ORDER BY weakest DESC
