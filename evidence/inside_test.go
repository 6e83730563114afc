package evidence

// AtRest is for tests that move a folder while it is listed.
var AtRest = atRest
