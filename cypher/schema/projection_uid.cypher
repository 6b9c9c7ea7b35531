// title: One Projection per uid
// description: Uniqueness of Projection.uid; also the index that every lookup by uid uses.
// mode: schema
// columns: 

CYPHER 25
CREATE CONSTRAINT projection_uid IF NOT EXISTS FOR (n:Projection) REQUIRE n.uid IS UNIQUE
