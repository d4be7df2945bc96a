"""The lifecycle of a run. Each step is a file that does not import Locust.

 1. Read the inputs: options, timeline, arrivals, documents (`inputs.py`; the options are declared in `arguments.py`).
 2. Start the stack, if the topology describes an embedded one (`stack.py`).
 3. Have chaos and the analysis check the inputs (`checks.py`).
 4. Warm up the gateway and the tiers (`warming.py`).
 5. Send each worker its setup (`workers.py`).
 6. Open the run folder and its records, scrape the counters (`opening.py`).
 7. Start chaos (`faults.py`), or a search for a rate instead (`search.py`); both are experiments (`experiment.py`).
 8. Start the users (`users.py`).
 9. Follow chaos: print its events and the live line (`display.py`), send it the counts for its guards (`faults.py`).
10. Stop: chaos restores while the users finish (`lifecycle.py`).
11. Close: restore faults that are still open, close the manifest, scrape the counters, copy the evidence (`closing.py`; why the
    run was cut short: `ending.py`).
12. Make the report, print the verdict (`verdict.py`), stop the stack (`stack.py`).

`context.py` has the state of a run between steps 7 and 11. `preparation.py` runs steps 1 to 4, `lifecycle.py` all of them, one run
at a time.
Only `locust_events.py` imports Locust: its events call the lifecycle; `load.py` is the interface that the lifecycle uses.
`page_state.py` decides which state Locust's web UI shows.
"""
