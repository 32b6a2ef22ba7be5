"""How it is asked: the HTTP API.

    app             puts the pieces together
    settings        what can be configured
    routes/         the endpoints, one module per subject
    dependencies    what an endpoint can ask for
    storage         the database: transactions, and problems when it is gone
    job, pages      a job as the API shows it; pages of lists
    datasets        an upload as the API shows it
    fitting         a job and its dataset: whether it is there, and fits
    incoming        bodies that are written to a file as they come
    inspecting      a file that nobody trusts, looked at in a process of its own
    bodies          JSON bodies: strict reading and validation
    explain         validation errors as sentences (with `places` and `wording`)
    problem, errors every error as application/problem+json
    caching         ETag and 304
    webhook         what webhooks are told, and what became of it
    delivering      messages to webhooks: what is due, and what follows from each answer
    sending         one message to one receiver (with `signing` and `addresses`)
    middleware      request ids, the last resort for exceptions, the limit of a body
    openapi         the description of it all

It meets the worker in the database and nowhere else.
"""
