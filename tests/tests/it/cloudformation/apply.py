"""Makes the stack of a CloudFormation template in moto, within this process, and prints what came of it as JSON.

    apply.py TEMPLATE [PARAMETER=VALUE ...]

Of a bucket moto makes little more than the name: what the template says of it is printed with references and conditions
resolved by moto's own parser.
"""

import ast
import base64
import json
import os
import sys

import boto3
from moto import mock_aws
from moto.cloudformation.models import cloudformation_backends
from moto.cloudformation.parsing import clean_json

ACCOUNT, REGION = "123456789012", "eu-central-1"
os.environ.update(AWS_ACCESS_KEY_ID="anybody", AWS_SECRET_ACCESS_KEY="anything", AWS_DEFAULT_REGION=REGION)


def roles(iam):
    found = {}
    for role in iam.list_roles()["Roles"]:
        name = role["RoleName"]
        policies = iam.list_role_policies(RoleName=name)["PolicyNames"]
        found[name] = {
            "trust": role["AssumeRolePolicyDocument"],
            "policies": {
                # What came from a template moto keeps as Python's own text.
                policy: ast.literal_eval(iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"])
                for policy in policies
            },
        }
    return found


@mock_aws
def main(template, parameters):
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    zone = f"{REGION}a"
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    parameters |= {"VpcId": vpc, "SubnetId": subnet, "Zone": zone, "ImageId": image}

    cloudformation = boto3.client("cloudformation")
    made = cloudformation.create_stack(
        StackName="pawl",
        TemplateBody=open(template).read(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    stack = cloudformation_backends[ACCOUNT][REGION].get_stack(made["StackId"])

    def said_of(resource):
        return clean_json(stack.template_dict["Resources"][resource]["Properties"], stack.resource_map)

    scaling = boto3.client("autoscaling")
    group = scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]
    template_id = group["LaunchTemplate"]["LaunchTemplateId"]
    launched = ec2.describe_launch_template_versions(LaunchTemplateId=template_id)["LaunchTemplateVersions"]
    data = launched[0]["LaunchTemplateData"]
    reservations = ec2.describe_instances()["Reservations"]
    print(json.dumps({
        "status": cloudformation.describe_stacks()["Stacks"][0]["StackStatus"],
        "bucket": said_of("Bucket"),
        "bucket-policy": said_of("BucketPolicy")["PolicyDocument"],
        "buckets": [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]],
        "roles": roles(boto3.client("iam")),
        "ingress": [
            rule
            for group in ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"]
            if group["GroupName"] != "default"
            for rule in group["IpPermissions"]
        ],
        "group": {key: group[key] for key in ("MinSize", "MaxSize", "DesiredCapacity")},
        "schedule": scaling.describe_scheduled_actions()["ScheduledUpdateGroupActions"],
        "template": data | {"UserData": base64.b64decode(data["UserData"]).decode()},
        "instances": sum(len(reservation["Instances"]) for reservation in reservations),
    }, default=str))


main(sys.argv[1], dict(argument.split("=", 1) for argument in sys.argv[2:]))
