// title: One Sweep per uid
// description: Uniqueness of Sweep.uid; also the index that every lookup by uid uses.
// mode: schema
// columns: 

CYPHER 25
CREATE CONSTRAINT sweep_uid IF NOT EXISTS FOR (n:Sweep) REQUIRE n.uid IS UNIQUE
