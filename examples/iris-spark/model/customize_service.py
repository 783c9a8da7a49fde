# coding: utf-8
import json

import model_service.log as log
from model_service.spark_model_service import SparkServingBaseService
from pyspark.ml import PipelineModel

logger = log.getLogger(__name__)

COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


class IrisService(SparkServingBaseService):

    # The model is loaded once, when the instance starts, and not for every request.
    def __init__(self, model_path):
        super(IrisService, self).__init__(model_path)
        self.model = PipelineModel.load(model_path)

    def _preprocess(self, data):
        rows = json.loads(data)["data"]["req_data"]
        logger.info("predicting %d rows", len(rows))
        return self.spark.createDataFrame([tuple(float(row[name]) for name in COLUMNS) for row in rows], COLUMNS)

    def _inference(self, data):
        return self.model.transform(data).select("species").collect()

    def _postprocess(self, data):
        return [{"predictresult": row["species"]} for row in data]
