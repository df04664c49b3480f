"""A model for MLServer that answers with its inputs; imported by MLServer alone."""

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput


class Echo(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        outputs = [
            ResponseOutput(
                name=tensor.name, shape=tensor.shape, datatype=tensor.datatype, data=tensor.data
            )
            for tensor in payload.inputs
        ]
        told = (payload.parameters or Parameters()).model_dump()
        if "tag" in told:
            tags = [told["tag"]] * payload.inputs[0].shape[0]
            outputs.append(
                ResponseOutput(name="tag", shape=[len(tags)], datatype="BYTES", data=tags)
            )
        return InferenceResponse(model_name=self.name, outputs=outputs)
