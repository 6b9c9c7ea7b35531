// title: Path from an input channel to a filter
// description: The paths from an input channel to a filter along kernels whose active score reaches a minimum, strongest weakest kernel first.
// mode: read
// parameter: source = "toy/input/gray" -- uid of an input channel
// parameter: target = "toy/conv2/0" -- uid of the filter
// parameter: minimum = 0.0 -- smallest score of every kernel
// parameter: limit = 5 -- number of paths
// columns: path, weakest

CYPHER 25
MATCH path = (:Filter {uid: $source})(()-[k:KERNEL WHERE k.score >= $minimum]->()){1,8}(:Filter {uid: $target})
RETURN path, reduce(least = null, each IN k | CASE WHEN least IS NULL OR each.score < least THEN each.score ELSE least END) AS weakest
ORDER BY weakest DESC
LIMIT $limit
