# Trains and evaluates a table of settings, and writes the paper's tables and an MLflow store.
# How to run it: docs/workflow.md. Tiers and rules: docs/workflow_reference.md.
from snakemake.utils import min_version

from workflow.clock import refuse_future
from workflow.forcing import set_forced_aside
from workflow.lock import hold
from workflow.progress import watch

min_version("9.19")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/test.smk"
include: "workflow/rules/aggregate.smk"
include: "workflow/rules/external.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/budget.smk"
include: "workflow/rules/plan.smk"


rule all:
    input:
        rules.report.output.page,
        rules.track.output.done,


progress = watch(EXPERIMENT["tests"])


onstart:
    hold(EXPERIMENT["results"])
    refuse_future({file for job in workflow.dag.needrun_jobs() for file in job.input})
    set_forced_aside(workflow, ("train", "test"))
    if any(job.rule.name == "plan" for job in workflow.dag.needrun_jobs()):
        write_experiment()
    progress.start(workflow.output_settings.quiet)


onsuccess:
    progress.succeed(EXPERIMENT["results"])


onerror:
    progress.fail()
