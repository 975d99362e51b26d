"""A client that takes the model's arrays out of the message, puts them into its reply, and does nothing else."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:  # noqa: ARG001 - Flower's signature
    """Unpack the model and pack it again untrained."""
    arrays = ArrayRecord(message.content.array_records["arrays"].to_numpy_ndarrays())
    metrics = MetricRecord({"num-examples": 1})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
