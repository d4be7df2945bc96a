"""The life of a run. Each step is a file, and does without Locust.

 1. Read the inputs: options, timeline, arrivals, documents (`inputs.py`; the options are declared in `arguments.py`).
 2. Start the stack, where the topology describes an embedded one (`stack.py`).
 3. Have chaos and the analysis check the inputs (`checks.py`).
 4. Warm up the gateway and the tiers (`warming.py`).
 5. Hand each worker its stage (`workers.py`).
 6. Open the run folder and its records, scrape the counters (`opening.py`).
 7. Start chaos (`faults.py`), or in its place a search for a rate (`search.py`); both are an experiment (`experiment.py`).
 8. Let the users in (`users.py`).
 9. Follow chaos: print its events and the live line (`display.py`), send it the counts that its guards rest on (`faults.py`).
10. Stop: chaos restores while the users finish (`lifecycle.py`).
11. Close: restore what was left open, close the manifest, scrape the counters, copy the evidence (`closing.py`; why the run
    was cut short: `ending.py`).
12. Report, print the verdict (`verdict.py`), take down the stack (`stack.py`).

`context.py` has what is on between 7 and 11. `preparation.py` puts the steps 1 to 4 in their order, `lifecycle.py` all of them,
one run at a time.
`locust_events.py` alone imports Locust: its events call the lifecycle, and `load.py` says what the lifecycle needs of it.
`page_state.py` decides what Locust's web UI shows of a run.
"""
