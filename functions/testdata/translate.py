"""Prints template.yaml as CloudFormation gets it: transformed by SAM's own translator. Argument: the template. Parameters stay as they are."""
import json
import sys

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


class NoManagedPolicies:
    def load(self):
        return {}


with open(sys.argv[1]) as f:
    template = yaml_parse(f.read())
for resource in template["Resources"].values():
    for code in ("CodeUri", "ContentUri"):  # what `sam package` uploads and fills in
        if code in resource.get("Properties", {}):
            resource["Properties"][code] = "s3://bucket/key"
json.dump(transform(template, {}, NoManagedPolicies()), sys.stdout)
