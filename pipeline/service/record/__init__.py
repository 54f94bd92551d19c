"""What was answered, on its way to the warehouse (`pipeline.warehouse.online_predictions`)."""
